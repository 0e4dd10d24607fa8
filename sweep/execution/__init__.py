"""Where stages run: in this process, or on a Ray cluster, behind one small interface."""
