"""From requests to prompts and JSON schemas, and from answers to labelled texts.

`writing` and `manner` ask for texts, `parsing` reads them; `labelling` asks for labels, `options`
reads them; `replies` joins the two, `parts` is what both ask with. Pure functions of requests and
answers: they know no teacher and import none of its modules.
"""
