"""Files of traces, evalset items and predictions: from bytes to records, strictly, and back."""
