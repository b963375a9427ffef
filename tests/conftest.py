from hypothesis import settings

# how long an example takes says nothing about right and wrong, and varies with the machine
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
