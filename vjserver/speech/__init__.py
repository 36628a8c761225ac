"""Speech, the pure part: sound and hypotheses go in, what was said comes out. No I/O, no clock, no threads.

``segmenter`` finds where somebody speaks, ``transcriber`` says what is to be decoded and what comes of it, ``guards``
tell speech from what a recogniser makes up, ``phrases`` choose what of it is a picture.
"""
