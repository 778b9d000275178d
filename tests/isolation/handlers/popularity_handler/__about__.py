__version__ = "0.0.1"
__description__ = "recommends what most have"
