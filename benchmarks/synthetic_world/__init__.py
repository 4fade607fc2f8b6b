"""The generated source: made and written as the product does, and written from arrays that exist already."""
