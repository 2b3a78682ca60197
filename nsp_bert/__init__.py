"""The engine that the NSP-BERT scripts share: checkpoints, scoring, answer mapping, results."""

__version__ = "0.1.0"
