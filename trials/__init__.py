"""Run one trial or stage: what is trained, how, and what is measured. Never imports Ray.

`trials.spec` and `trials.identity` are free of torch, so that a plan can be made without it;
everything that trains imports torch when it is imported.
"""
