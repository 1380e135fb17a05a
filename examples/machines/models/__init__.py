"""Stands for a user's own package of this name. Headrace never imports it."""

raise ImportError("this folder is the user's: Headrace has no business in it")
