"""Owns nothing but the name: what engines whose models live behind HTTP have in common lies in the modules here."""
