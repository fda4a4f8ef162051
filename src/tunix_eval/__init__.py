"""An evaluation and regression harness for fine-tuning, as a pytest plugin."""

__version__ = "0.1.0"
