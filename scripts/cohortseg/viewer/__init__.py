"""The viewer: a page on loopback that shows the images of a cohort with their cells, and takes flags for them."""
