"""Commands: what CREATE, DROP, SHOW and the other statements that are no query do, one module for each family."""
