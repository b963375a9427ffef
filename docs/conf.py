from importlib.metadata import version as installed_version

project = "xarray-ngff"
author = "xarray-ngff developers"
project_copyright = "2026, xarray-ngff developers"
release = installed_version("xarray-ngff")
version = ".".join(release.split(".")[:2])

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.viewcode", "numpydoc"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Pages run afresh on each build, so that none shows what an older version printed.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

autodoc_typehints = "none"  # the numpydoc sections say the types, in words
numpydoc_show_class_members = False
default_role = "py:obj"  # `Roi` in a docstring is a link to it

html_theme = "furo"
html_title = "xarray-ngff"
