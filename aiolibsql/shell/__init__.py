"""The shell: ``python -m aiolibsql``.

Imported only when it is run. It uses the library as anybody else would, on asyncio, and the library
knows nothing of it. What the extra ``aiolibsql[shell]`` installs is imported where it is needed:
prompt_toolkit and Pygments for a prompt, rich for colours and progress bars.
"""
