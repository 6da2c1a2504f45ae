"""Files: images opened lazily, results written atomically.

The only room besides `steps` that touches paths. `images` opens any supported image; `labels`, `polygons`,
`tables` and `sheet` read and write what cohortseg makes; `atomic` is how all of it reaches its final name.
"""
