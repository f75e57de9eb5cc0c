"""What lets files of packages that have ended be read."""
