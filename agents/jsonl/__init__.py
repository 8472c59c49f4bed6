"""The files of the original Stratavore: reading and writing their lines. Knows no database."""
