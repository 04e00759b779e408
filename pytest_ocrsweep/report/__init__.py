"""Rows -> what people and programs read; nothing here computes a cost."""
