"""What `load_codec` gives: one face, whether one network makes the codes or one for each slice of the vectors."""

from model.codec import NetworkCodec
from model.product_codec import ProductCodec

Codec = NetworkCodec | ProductCodec
