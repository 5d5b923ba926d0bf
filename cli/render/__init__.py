"""Formats answers: for a terminal (tree, tables, safe text) and for a program (JSON). Pure; no I/O."""
