"""These pages as a site: `make docs`. A link that leads nowhere ends the build."""

project = "shopsearch"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "shopsearch"
exclude_patterns = ["make_screenshots.py"]
myst_heading_anchors = 4
