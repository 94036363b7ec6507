"""What a distilled classifier is once it is fitted: it predicts, abstains, is saved and loaded.

May import: `loop` and what is below.
"""
