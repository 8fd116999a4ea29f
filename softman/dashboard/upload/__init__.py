"""The tab "Upload": files from the browser straight into the bucket, and commands for other programs."""
