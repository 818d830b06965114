"""Files to pixels: PNG, JPEG, DICOM and others, as 8-bit grey."""
