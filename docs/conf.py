import warnings

import pgkd

project = "pgkd"
copyright = "The pgkd developers"
version = release = pgkd.__version__
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
myst_heading_anchors = 3
html_theme = "pydata_sphinx_theme"
html_title = "pgkd"
html_static_path = ["_static"]
html_css_files = ["pgkd.css"]
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system has it
html_copy_source = False
default_role = "py:obj"  # what stands in single backticks is code, and a link where there is one
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
exclude_patterns = ["_build", "tutorials/*"]
numpydoc_show_class_members = False
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 70  # longer ones have a line for each parameter
nitpicky = False
intersphinx_mapping = {}

# The tutorials are run when the documentation is built: what they print was seen.
sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "auto_tutorials",
    "filename_pattern": "plot_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "abort_on_example_error": True,
}
warnings.filterwarnings("ignore", message=".*IProgress.*")
