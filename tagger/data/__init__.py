"""The taxonomies that ship with Tagger, a folder for each, and the script that derives them."""
