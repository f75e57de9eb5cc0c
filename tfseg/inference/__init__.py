"""From a network and a volume of any size to a label map. Imports no TensorFlow by itself."""
