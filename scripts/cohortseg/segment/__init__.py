"""Segmentation of one image: what the network sees, its field, and the cells in it, as a stream in flat memory."""
