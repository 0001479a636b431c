"""Scores of the field: found instances against annotated objects, by COCO's and others' rules."""
