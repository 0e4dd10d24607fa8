"""Hands results over to what people already use: MLflow, Weights & Biases, TensorBoard.

A trial becomes a `HandedRun`, a value that knows none of them; a `Target` writes it in the words of
one. Handing over again adds what is new or has changed, and an interrupted one is gone on with.
"""
