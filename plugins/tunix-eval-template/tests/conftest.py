"""pytester runs pytest inside pytest."""

pytest_plugins = ["pytester"]
