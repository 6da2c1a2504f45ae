"""Training of networks: crops with augmentation, and the loop."""
