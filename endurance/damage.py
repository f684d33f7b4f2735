"""Files of sessions, of imports and of the user, damaged one at a time.

Whatever is asked of logdrift then answers as for whole files, or with one line on
stderr and exit code 2: no traceback, no wait beyond two seconds, no memory beyond twice
the file, nothing written or started outside, and no number that is another one than
before the damage.
"""

from __future__ import annotations

from endurance.import_damage import ImportDamage
from endurance.runs import Kind, Order, Tally
from endurance.session_damage import SessionDamage
from endurance.settings_damage import SettingsDamage

_SUBJECTS = ((SessionDamage, 0.6), (ImportDamage, 0.25), (SettingsDamage, 0.15))
"""What is damaged, and its share of the runs."""


def run(order: Order, tally: Tally) -> None:
    """Damage what chance chooses."""
    subjects = [make(order.folder / make.__name__) for make, _ in _SUBJECTS]
    shares = [share for _, share in _SUBJECTS]
    for number in order.numbers:
        chance = order.chance(number)
        (subject,) = chance.choices(subjects, shares)
        subject.run(number, chance, tally)


KIND = Kind("damage", "one file of a session, an import or a setting", 10_000, run)
