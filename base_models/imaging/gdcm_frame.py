"""Program that decodes one compressed frame with the library GDCM: a frame comes in, its pixels go out.

It runs by its path, in a process of its own: GDCM aborts the process at some damaged frames, holds the
interpreter's lock, and writes to standard error of sound frames too.
"""

import sys
from importlib import import_module


def main(syntax: str, photometric: str, *numbers: str) -> None:
    """Write the pixels to standard output, little endian; the arguments are what the data set says of them.

    Numbers: columns, rows, samples per pixel, planar configuration, bits allocated, pixel representation.
    """
    gdcm = import_module("gdcm")
    columns, rows, samples, planar, bits, sign = map(int, numbers)
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(sys.stdin.buffer.read())
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    pixels = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    pixels.SetValue(fragments.__ref__())

    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    meaning = gdcm.PhotometricInterpretation
    image.SetPhotometricInterpretation(meaning(meaning.GetPIType(photometric)))
    image.SetPixelFormat(gdcm.PixelFormat(samples, bits, bits, bits - 1, sign))
    if samples > 1:
        image.SetPlanarConfiguration(planar)
    image.SetDataElement(pixels)
    sys.stdout.buffer.write(image.GetBuffer().encode("utf-8", "surrogateescape"))  # how SWIG returns bytes


if __name__ == "__main__":
    main(*sys.argv[1:])
