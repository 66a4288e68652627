"""The American Heart Association's sectors of the left ventricle, for wall thickening and perfusion alike.

Cerqueira et al., Circulation 2002; which insertion is anterior and how the apical sectors lie: docs/architecture.md.
"""
