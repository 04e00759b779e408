"""What the plugin's own tests need of pytest."""

pytest_plugins = ["pytester"]
