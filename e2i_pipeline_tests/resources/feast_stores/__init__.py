"""The stores behind Feast's extension points, on files of their own."""
