"""One of each kind that tunix-eval can be taught: copy this package and replace the parts."""
