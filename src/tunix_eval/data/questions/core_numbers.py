"""Core questions about quantities: arithmetic, geometry, fractions, percentages, units."""

from __future__ import annotations

from tunix_eval.data.questions.question import core

CORE_NUMBERS = (
    core(
        "tram-seats",
        "arithmetic",
        "easy",
        "A tram has 4 cars. Each car has 11 rows of 4 seats and 6 folding seats besides. How many seats does the tram "
        "have?",
        "200",
    ),
    core(
        "jam-jars",
        "arithmetic",
        "easy",
        "Lena makes 7 kg of plum jam and fills jars that hold 350 g each. How many jars does she fill?",
        "20",
    ),
    core(
        "paint-coats",
        "arithmetic",
        "medium",
        "One litre of paint is enough for 12 square metres. The walls of a hall measure 90 square metres, and all of "
        "them are painted twice. How many litres of paint are needed?",
        "15",
    ),
    core(
        "choir-rows",
        "arithmetic",
        "medium",
        "A choir stands in 6 rows. There are 8 singers in the front row, and in each row behind it there are 2 more "
        "than in the one before. How many singers are there?",
        "78",
    ),
    core(
        "tower-steps",
        "arithmetic",
        "easy",
        "Between one floor of a tower and the next there are 18 steps. Marek walks from floor 3 up to floor 11. How "
        "many steps does he climb?",
        "144",
    ),
    core(
        "three-parcels",
        "arithmetic",
        "easy",
        "Three parcels weigh 2.4 kg, 3.75 kg and 850 g. How many kilograms do they weigh together?",
        "7",
    ),
    core(
        "museum-change",
        "arithmetic",
        "easy",
        "A ticket for a museum costs 9 euros for an adult and 4 euros for a child. A group of 3 adults and 7 children "
        "pays with a 100-euro note. How many euros do they get back?",
        "45",
    ),
    core(
        "painted-cube",
        "geometry",
        "medium",
        "A wooden cube with edges of 3 cm is painted on all sides and then sawn into cubes with edges of 1 cm. How "
        "many of the small cubes have no paint on them?",
        "1",
        "one",
    ),
    core(
        "long-rectangle",
        "geometry",
        "medium",
        "A rectangle is 3 times as long as it is wide, and its perimeter is 56 cm. What is its area in square "
        "centimetres?",
        "147",
        "147 square centimetres",
        "147 cm²",
    ),
    core(
        "fifth-test",
        "arithmetic",
        "medium",
        "Nadia's marks in four tests are 7, 9, 4 and 8. Which mark does she need in a fifth test for a mean of "
        "exactly 7.2?",
        "8",
    ),
    core(
        "cake-left",
        "fractions",
        "medium",
        "Otto eats a quarter of a cake, and Pia eats a third of what he leaves. Which fraction of the whole cake is "
        "left after that?",
        "1/2",
        "0.5",
        "half",
        "one half",
        "50%",
    ),
    core(
        "up-and-down",
        "percentages",
        "medium",
        "A price of 200 euros rises by 10% and then falls by 10%. How many euros is it now?",
        "198",
    ),
    core(
        "diluted-juice",
        "percentages",
        "medium",
        "Three litres of juice, 20% of which is sugar, are mixed with two litres of water. How many percent of the "
        "mixture is sugar?",
        "12%",
        "12",
        "12 percent",
    ),
    core(
        "phone-battery",
        "fractions",
        "medium",
        "Every hour a phone loses an eighth of a full charge. It is at 75% now. After how many hours is it at 25%?",
        "4",
    ),
    core(
        "school-band",
        "ratios",
        "medium",
        "In a school band there are 5 girls to every 3 boys, and there are 6 girls more than boys. How many children "
        "are in the band?",
        "24",
    ),
    core(
        "fraction-midway",
        "fractions",
        "hard",
        "Which fraction lies exactly halfway between 1/3 and 1/2? Give it in lowest terms.",
        "5/12",
    ),
    core(
        "coat-before",
        "percentages",
        "hard",
        "After a reduction of 30% a coat costs 84 euros. How many euros did it cost before?",
        "120",
    ),
    core(
        "newspaper-readers",
        "fractions",
        "medium",
        "Of 240 people, 5/8 read a newspaper, and 2/5 of those read it on paper. How many people read a newspaper, "
        "but not on paper?",
        "90",
    ),
    core(
        "runner-pace",
        "units",
        "easy",
        "A runner needs 5 minutes and 15 seconds for every kilometre. How many minutes does she need for 12 km?",
        "63",
    ),
    core(
        "van-fuel",
        "units",
        "easy",
        "A van needs 8.5 litres of fuel for 100 km. How many litres does it need for 340 km?",
        "28.9",
    ),
    core(
        "cyclist-metres",
        "units",
        "medium",
        "A cyclist rides at a steady 27 km/h. How many metres does he cover in 10 seconds?",
        "75",
    ),
    core(
        "field-hectares",
        "units",
        "medium",
        "A field is 450 m long and 320 m wide. One hectare is 10,000 square metres. How many hectares is the field?",
        "14.4",
    ),
    core(
        "day-and-a-half",
        "units",
        "easy",
        "How many minutes are there in one and a half days?",
        "2160",
        "2,160",
    ),
    core(
        "copy-film",
        "units",
        "easy",
        "A film takes up 4.5 GB, and one GB counts as 1000 MB. How many seconds does it take to copy the film at 20 "
        "MB a second?",
        "225",
    ),
    core(
        "map-path",
        "units",
        "medium",
        "On a map of scale 1:25,000 a path is 14 cm long. How many kilometres long is it in reality?",
        "3.5",
    ),
)
