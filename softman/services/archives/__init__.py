"""Archives in a bucket: which keys are some, what they may hold, and their members as a tree in the repository."""
