"""What engagement changes: overlap, scores, how effects rank and calibrate, what a policy brings, what bias it takes.

How an effect is fitted is EconML's; what makes it worth believing stands here.
"""
