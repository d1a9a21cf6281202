"""Weights that people have, read into this model: Mask2Former from Hugging Face and from detectron2.

`files` reads tensors without ever running code from a file, `layouts` knows the names of other projects, `convert`
turns them into a config and the tensors of SyncVIS.
"""

from syncvis_online.conversion.convert import Conversion, convert_tensors, import_weights

__all__ = ["Conversion", "convert_tensors", "import_weights"]
