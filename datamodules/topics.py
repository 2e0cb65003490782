"""What the built-in prompt sampler asks about: topics, which are words that an answer must mention, and tasks."""

TOPICS = tuple(
    """
    tea coffee bread cheese honey rice chocolate salt soup apples olives pepper garlic mushrooms noodles
    pancakes owls bees whales dolphins wolves foxes horses cats dogs elephants penguins sharks spiders ants
    butterflies eagles tigers bears turtles frogs parrots camels octopuses salmon rivers mountains deserts
    forests oceans volcanoes islands glaciers caves lakes waterfalls rain snow wind thunder clouds rainbows
    storms winter spring summer autumn sunrise night stars planets comets moonlight gravity magnets electricity
    light sound heat water ice fire steam glass iron gold paper clay wool silk leather cotton rubber bridges
    castles lighthouses windmills railways airports libraries museums theatres markets gardens farms harbours
    schools hospitals kitchens tunnels towers bicycles trains ships cars balloons rockets submarines tractors
    lifts clocks maps compasses telescopes cameras mirrors pencils books letters newspapers radios telephones
    computers robots batteries candles umbrellas shoes hats bells keys ladders knives chess football tennis
    swimming running dancing singing painting drawing knitting fishing sailing cycling hiking cooking camping
    juggling skiing pianos violins drums guitars trumpets poems stories legends holidays birthdays weddings
    festivals friendship courage patience honesty kindness curiosity memory sleep dreams laughter silence
    teamwork money trade voting medicine vaccines teeth bones muscles lungs dinosaurs fossils pyramids knights
    pirates vikings samurai
    """.split()
)

TASKS = (
    "Describe {topic} to a child.",
    "Explain why {topic} matter to people.",
    "Write a short note about {topic} to a friend.",
    "Tell me something interesting about {topic}.",
    "Write a short advertisement about {topic}.",
    "Say what you like most about {topic}.",
    "Give a piece of advice about {topic}.",
    "Write the opening of a story about {topic}.",
    "Compare {topic} today with {topic} a hundred years ago.",
    "Describe a memory that has to do with {topic}.",
    "Give a surprising fact about {topic}.",
    "Write a diary entry about {topic}.",
    "Explain in simple words what one should know about {topic}.",
    "Write a short speech about {topic}.",
)
