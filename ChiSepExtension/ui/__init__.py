"""Ring 2: Qt in Slicer: the child process, the panel, the views, the cursor read-out."""
