"""Names of a dataset's classes as people say them, in the order of its labels.

TFDS gives placeholders ("0", "1", ...) for CIFAR until it is prepared and for CUB always, spellings
such as `apartment_building/outdoor` for Places365, and WordNet identifiers for ImageNet. Here each
becomes a name that a text encoder has seen, and is compared with what the builder itself says.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxcbm.data.sources.wordnet import find_data_noun, is_synset, read_data_noun, synset_names
from jaxcbm.errors import UserError
from jaxcbm.text_file import read_text

_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""
# As the folders of CUB-200-2011 are called, its spellings kept.
_CUB200 = """
Black_footed_Albatross Laysan_Albatross Sooty_Albatross Groove_billed_Ani Crested_Auklet
Least_Auklet Parakeet_Auklet Rhinoceros_Auklet Brewer_Blackbird Red_winged_Blackbird Rusty_Blackbird
Yellow_headed_Blackbird Bobolink Indigo_Bunting Lazuli_Bunting Painted_Bunting Cardinal
Spotted_Catbird Gray_Catbird Yellow_breasted_Chat Eastern_Towhee Chuck_will_Widow Brandt_Cormorant
Red_faced_Cormorant Pelagic_Cormorant Bronzed_Cowbird Shiny_Cowbird Brown_Creeper American_Crow
Fish_Crow Black_billed_Cuckoo Mangrove_Cuckoo Yellow_billed_Cuckoo Gray_crowned_Rosy_Finch
Purple_Finch Northern_Flicker Acadian_Flycatcher Great_Crested_Flycatcher Least_Flycatcher
Olive_sided_Flycatcher Scissor_tailed_Flycatcher Vermilion_Flycatcher Yellow_bellied_Flycatcher
Frigatebird Northern_Fulmar Gadwall American_Goldfinch European_Goldfinch Boat_tailed_Grackle
Eared_Grebe Horned_Grebe Pied_billed_Grebe Western_Grebe Blue_Grosbeak Evening_Grosbeak
Pine_Grosbeak Rose_breasted_Grosbeak Pigeon_Guillemot California_Gull Glaucous_winged_Gull
Heermann_Gull Herring_Gull Ivory_Gull Ring_billed_Gull Slaty_backed_Gull Western_Gull
Anna_Hummingbird Ruby_throated_Hummingbird Rufous_Hummingbird Green_Violetear Long_tailed_Jaeger
Pomarine_Jaeger Blue_Jay Florida_Jay Green_Jay Dark_eyed_Junco Tropical_Kingbird Gray_Kingbird
Belted_Kingfisher Green_Kingfisher Pied_Kingfisher Ringed_Kingfisher White_breasted_Kingfisher
Red_legged_Kittiwake Horned_Lark Pacific_Loon Mallard Western_Meadowlark Hooded_Merganser
Red_breasted_Merganser Mockingbird Nighthawk Clark_Nutcracker White_breasted_Nuthatch
Baltimore_Oriole Hooded_Oriole Orchard_Oriole Scott_Oriole Ovenbird Brown_Pelican White_Pelican
Western_Wood_Pewee Sayornis American_Pipit Whip_poor_Will Horned_Puffin Common_Raven
White_necked_Raven American_Redstart Geococcyx Loggerhead_Shrike Great_Grey_Shrike Baird_Sparrow
Black_throated_Sparrow Brewer_Sparrow Chipping_Sparrow Clay_colored_Sparrow House_Sparrow
Field_Sparrow Fox_Sparrow Grasshopper_Sparrow Harris_Sparrow Henslow_Sparrow Le_Conte_Sparrow
Lincoln_Sparrow Nelson_Sharp_tailed_Sparrow Savannah_Sparrow Seaside_Sparrow Song_Sparrow
Tree_Sparrow Vesper_Sparrow White_crowned_Sparrow White_throated_Sparrow Cape_Glossy_Starling
Bank_Swallow Barn_Swallow Cliff_Swallow Tree_Swallow Scarlet_Tanager Summer_Tanager Artic_Tern
Black_Tern Caspian_Tern Common_Tern Elegant_Tern Forsters_Tern Least_Tern Green_tailed_Towhee
Brown_Thrasher Sage_Thrasher Black_capped_Vireo Blue_headed_Vireo Philadelphia_Vireo Red_eyed_Vireo
Warbling_Vireo White_eyed_Vireo Yellow_throated_Vireo Bay_breasted_Warbler Black_and_white_Warbler
Black_throated_Blue_Warbler Blue_winged_Warbler Canada_Warbler Cape_May_Warbler Cerulean_Warbler
Chestnut_sided_Warbler Golden_winged_Warbler Hooded_Warbler Kentucky_Warbler Magnolia_Warbler
Mourning_Warbler Myrtle_Warbler Nashville_Warbler Orange_crowned_Warbler Palm_Warbler Pine_Warbler
Prairie_Warbler Prothonotary_Warbler Swainson_Warbler Tennessee_Warbler Wilson_Warbler
Worm_eating_Warbler Yellow_Warbler Northern_Waterthrush Louisiana_Waterthrush Bohemian_Waxwing
Cedar_Waxwing American_Three_toed_Woodpecker Pileated_Woodpecker Red_bellied_Woodpecker
Red_cockaded_Woodpecker Red_headed_Woodpecker Downy_Woodpecker Bewick_Wren Cactus_Wren Carolina_Wren
House_Wren Marsh_Wren Rock_Wren Winter_Wren Common_Yellowthroat
"""
_LABELS = {"cifar10": _CIFAR10, "cifar100": _CIFAR100, "caltech_birds2011": _CUB200}
_SPELLED_BY_BUILDER = ("places365_small",)

_PARTS = (
    "backed|bellied|billed|breasted|capped|colored|crowned|eyed|faced|footed|headed|legged|necked|"
    "sided|tailed|throated|toed|winged"
)
# "outdoor church", but "bakery shop": what these say of the place comes after it.
_AFTER = ("shop", "door", "platform")
_CORRECTED = {
    "archaelogical excavation": "archaeological excavation",
    "artic tern": "arctic tern",
    "asia temple": "Asian temple",
    "carrousel": "carousel",
    "chuck will widow": "chuck-will's-widow",
    "forsters tern": "Forster's tern",
    "kindergarden classroom": "kindergarten classroom",
    "mountain snowy": "snowy mountain",
    "ocean deep underwater": "deep ocean underwater",
    "oilrig": "oil rig",
    "sand desert": "sandy desert",
    "vegetation desert": "desert with vegetation",
    "water moat": "moat",
    "whip poor will": "whip-poor-will",
}


def readable(label: str) -> str:
    """A builder's label as words: no number before it, no underscores, no slashes.

    >>> readable("001.Black_footed_Albatross"), readable("apartment_building/outdoor")
    ('black-footed albatross', 'outdoor apartment building')
    >>> readable("bakery/shop")
    'bakery shop'
    """
    words = " ".join(re.sub(r"^\d+\.", "", label).replace("_", " ").lower().split())
    thing, _, kind = words.partition("/")
    if kind:
        words = f"{thing} {kind}" if kind in _AFTER else f"{kind} {thing}"
    words = re.sub(rf"(?<=\w) ({_PARTS})\b", r"-\1", words)
    return _CORRECTED.get(words, words)


def built_in(dataset: str) -> tuple[str, ...] | None:
    """The names that come with the library, or None where a dataset's are not among them.

    A version or a configuration may follow TFDS's name, as in "cifar10:3.0.2".

    >>> built_in("cifar10:3.0.2")[:2], len(built_in("cifar100")), built_in("mnist")
    (('airplane', 'automobile'), 100, None)
    """
    labels = _LABELS.get(base_name(dataset))
    return None if labels is None else tuple(map(readable, labels.split()))


def class_names(
    dataset: str, count: int, own: Sequence[str] = (), given: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Names of a dataset's classes: those given, else those that come with the library.

    Args:
        dataset: as TFDS calls it.
        count: K, its classes.
        own: what the builder calls them; empty where it has placeholders.
        given: lines of a class file: K names in the order of the labels, or, for datasets whose
            labels are WordNet identifiers, lines such as "n01440764 tench, Tinca tinca" in any
            order.

    Returns:
        K names in the order of the labels.

    Raises:
        UserError: another number of names, another order than the builder's, or no names at all.
    """
    if own and all(map(is_synset, own)) and not (given and _is_plain(given)):
        return synset_names(own, _synset_lines(dataset, own) if given is None else given)
    if given is not None:
        names = tuple(given)
        if len(names) != count:
            raise UserError(
                f"dataset {dataset!r} has {count} classes, but {len(names)} names given"
            )
        # Other words are the user's right; the same words in another order are a mistake.
        if sorted(map(_key, names)) == sorted(map(_key, own)):
            check_names(dataset, names, dict(enumerate(own)))
        return names
    names = built_in(dataset)
    if names is not None:
        if len(names) != count:
            raise UserError(f"dataset {dataset!r} has {count} classes here, not {len(names)}")
        check_names(dataset, names, dict(enumerate(own)))
        return names
    if not own:
        raise UserError(
            f"dataset {dataset!r} comes without class names: name a file of {count} names, one a "
            "line in the order of the labels (--config.data.classes=FILE)"
        )
    spelled = base_name(dataset) in _SPELLED_BY_BUILDER
    return tuple(map(readable, own)) if spelled else tuple(own)


def check_names(dataset: str, names: Sequence[str], own: Mapping[int, str]) -> None:
    """Compare K names with what the builder calls some or all of its classes, by position.

    Raises:
        UserError: they differ at a position.
    """
    for label, word in sorted(own.items()):
        if _key(word) != _key(names[label]):
            raise UserError(
                f"dataset {dataset!r}: class {label} is {word!r} there, but {names[label]!r} in "
                "the list of names: the lists differ in order or in version "
                "(name your own with --config.data.classes=FILE)"
            )


def read_class_file(path: Path) -> tuple[str, ...]:
    """Lines of a class file, or the noun synsets of a WordNet `data.noun`, as `class_names` takes.

    Raises:
        UserError: no such file, or no text in it.
    """
    if not path.is_file():
        raise UserError(f"no such file of class names: {path}")
    if path.name == "data.noun":
        return read_data_noun(path)
    lines = read_text(path).splitlines()
    names = tuple(" ".join(line.split()) for line in lines if line.strip())
    if not names:
        raise UserError(f"no class names in {path}: give one a line")
    return names


def _is_plain(given: Sequence[str]) -> bool:
    return not is_synset(given[0].split()[0])


def _synset_lines(dataset: str, own: Sequence[str]) -> tuple[str, ...]:
    source = find_data_noun()
    if source is None:
        raise UserError(
            f"dataset {dataset!r} names its classes by WordNet identifiers ({own[0]}, ...): "
            "apt-get install wordnet-base, or name a file with --config.data.classes=FILE "
            "(WordNet 3.0's data.noun, lines such as 'n01440764 tench', or plain names)"
        )
    return read_data_noun(source)


def base_name(dataset: str) -> str:
    """A dataset of TFDS without its config and version."""
    return re.split("[:/]", dataset, maxsplit=1)[0]


def _key(name: str) -> str:
    return readable(name).casefold().replace("-", " ")
