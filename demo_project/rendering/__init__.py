"""The demo's pictures, drawn by code: products, and things to search with. Pillow and numpy, the same for a seed."""
