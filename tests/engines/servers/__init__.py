"""Servers on loopback that remote engines are tried against."""
