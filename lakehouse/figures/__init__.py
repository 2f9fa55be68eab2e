"""The figures that alerts are about, beside what is usual: for messages and for the console alike."""
