"""What is kept: boards of pictures, dreams, words. SQLite files and what belongs to them, in the user's data folder."""
