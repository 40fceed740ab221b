"""Real images: where they come from, how encoders are trained on them, what they learned.

Import the modules one by one, as in `from mrpbook.images import sources`: scikit-learn and Pillow are loaded only then.
"""
