document.getElementById("where").textContent = "You are at " + location.pathname;
