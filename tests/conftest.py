import os

from hypothesis import settings

# how long an example takes says nothing about right and wrong, and varies with the machine
settings.register_profile("unhurried", deadline=None)
# where a change is judged, the same examples every time; elsewhere new ones, so that they keep finding things
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable" if os.environ.get("CI") else "unhurried")
